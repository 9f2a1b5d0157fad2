"""The shared package; knows neither the terminal nor the command line."""
