"""What is wrong with data before a model learns from it: leaks, repeats, contradictions, damage, each with its rows.

`material` says what is looked at, `finding` what a finding is, `checks` calls every check; the other modules are the checks.
"""
