"""autotag."""
