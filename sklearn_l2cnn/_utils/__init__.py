"""What is known of any torch module and of any estimator."""
