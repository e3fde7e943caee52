"""The shape of the likelihood: curvature, information, stationary points, rates, singularities, standard errors."""
