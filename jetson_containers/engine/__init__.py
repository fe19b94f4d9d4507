"""Container engines: what they can do, and one class that drives them."""
