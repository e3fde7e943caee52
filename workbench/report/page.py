render=write_report=None
