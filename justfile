# Commands of every day; `just` lists them. See tests/README.md.

# List the commands.
default:
    @just --list

# Unit tests, and the suites that need neither PostgreSQL nor other programs.
test:
    cargo test --lib --test grpc --test rest --test policy

# The contract of the stores, on SQLite and, where it is installed, on PostgreSQL.
contract:
    cargo test --test contract

# All checks and tests, as CI runs them.
all:
    bash tests/all.sh
