"""The three capabilities, over the ports: reviews, upkeep in the cluster, configuration."""
