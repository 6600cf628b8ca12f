"""What every screen is made of: page classes, template tags, form rendering, words for times. No screens of its own."""
