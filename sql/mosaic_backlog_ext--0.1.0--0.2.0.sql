-- What 0.2.0 changes in a database that 0.1.0 made. `tests/suite/upgrade.rs` compares the result
-- with a new installation.
\echo Use "alter extension mosaic_backlog_ext update" to load this file. \quit
