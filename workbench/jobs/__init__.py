"""Jobs: what can be run, stored, resumed and shown again. What they have in common is in four files here: what a job is
(`base`), where its records lie (`store`), how cells are run (`running`) and by which processes (`executors`). Each kind
of job is one file more.
"""
