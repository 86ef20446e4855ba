"""One module per way of telling a subscriber."""
