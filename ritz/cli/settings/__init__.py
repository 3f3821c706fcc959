"""Settings as they are given: names, values, class paths and files, and what is wrong with them."""
