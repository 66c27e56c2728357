# The scripts of this repository by short names. Nothing needs `just`: each line works by itself.

# Show what there is
default:
    @just --list

# Build and install Mosaic
install *arguments:
    ./install.sh {{arguments}}

# Install for the tests; again after every change
install-for-tests:
    CARGO_PROFILE_INSTALLED_OPT_LEVEL=1 CARGO_PROFILE_INSTALLED_INCREMENTAL=true ./install.sh --prefix target/tests/prefix

# Run tests of the extension by SQL whose names contain FILTER
suite filter:
    cargo test --locked -p mosaic-backlog-tests --test suite -- {{filter}}

# Run tests of the program whose names contain FILTER
program filter:
    cargo test --locked -p mosaic-backlog-tests --test program -- {{filter}}

# Run all tests
test *arguments:
    tests/run {{arguments}}

# Run all tests on each PostgreSQL
majors *majors:
    tests/majors/run {{majors}}

# What has to hold before a change goes in
ci:
    .ci/run

# Format
format:
    cargo fmt --all

# Licences and sources of what we build on
deny:
    cargo deny check licenses bans sources

# Measure
bench *arguments:
    tests/bench/run {{arguments}}

# Faults under load
faults *arguments:
    tests/faults/run {{arguments}}

# Calls with generated arguments
fuzz *arguments:
    tests/fuzz/run {{arguments}}

# Record the README's demonstration
demo:
    tests/demo/run
