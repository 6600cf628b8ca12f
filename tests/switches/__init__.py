"""GP system switches: signs, cases, holding, releasing, proving."""
