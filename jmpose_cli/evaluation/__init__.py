"""`jmpose eval`: what is scored, and how it is shown."""
