"""Every run of the tests knows the claims that they bear on."""

pytest_plugins = ["claims.plugin"]
