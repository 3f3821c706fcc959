"""What `ritz new` begins a package of your own with; the page on extending shows the same."""
