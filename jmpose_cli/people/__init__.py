"""Who is where: detection, tracking, cuts."""
