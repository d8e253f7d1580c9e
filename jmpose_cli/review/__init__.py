"""`jmpose review`: the poses of clips corrected by hand, in a browser."""
