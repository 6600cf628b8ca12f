"""People, teams, roles, and the one door to a team's rows."""
