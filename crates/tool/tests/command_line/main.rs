//! The tool as a process: its commands, their output and exit codes, kills and terminals.
//!
//! One program, because linking one for each file takes longer than most of the tests.

mod bad_input;
mod commands;
mod completions;
mod docs;
mod doctor;
mod doctor_advice;
mod emulator;
mod go_lines;
mod import;
mod import_kills;
mod kills;
mod other_tools;
mod support;
mod terminal;
mod told;
