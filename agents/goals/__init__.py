"""Which goals a goal-conditioned agent practises, and hindsight replay that can be saved."""
