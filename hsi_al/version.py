"""The version of the package, also in a checkout that isn't installed."""

VERSION = "0.1.0"
