"""A running MESH client (the Java program) and its mailboxes: reading its configuration, bringing it in, and taking over."""
