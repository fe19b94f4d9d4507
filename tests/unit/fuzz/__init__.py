"""Every reader of outside data against inputs that no honest source gives."""
