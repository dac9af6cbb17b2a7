"""Judge what was recorded or is live under one configuration or two, and sum up the differences."""
