"""Users, service accounts and teams: who there is, how they sign in, and for how long."""
