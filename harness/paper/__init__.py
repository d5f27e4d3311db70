"""The figures and claims that the paper prints, compared with ours."""
