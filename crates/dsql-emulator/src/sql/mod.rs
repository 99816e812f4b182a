//! Tokens, cursors and edits of SQL statements.
//!
//! PostgreSQL parses and runs every statement. The emulator reads it first, to refuse what DSQL
//! refuses, to recognise transactions, locks and jobs, and to change some words. The tokeniser is
//! that of `sqlparser-dsql`, which AWS's linter uses. Its grammar is used for queries. Everything
//! else is recognised by tokens: much of what DSQL refuses is not in that grammar, and PostgreSQL
//! gets the client's text unchanged.

mod cursor;
mod edit;
mod lex;

pub(crate) use cursor::{Cursor, identifier, literal, text_of_bytea};
pub(crate) use edit::Edit;
pub(crate) use lex::{Kind, Statement, Token, split};
