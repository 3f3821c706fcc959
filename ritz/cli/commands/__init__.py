"""Commands of `ritz` without a domain, a module each."""
