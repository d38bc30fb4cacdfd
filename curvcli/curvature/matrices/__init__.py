"""The matrices that speak of curvature: the Hessian, Gauss–Newton, Fisher and empirical Fisher, one file each."""
