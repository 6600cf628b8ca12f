"""Message history, the receive flow and the watch flow. The app label is ``mesh_messages``."""
