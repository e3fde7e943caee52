"""The shape that most tests share, so that its programs are compiled once: N points, D columns, K components."""

N, D, K = 60, 2, 3
