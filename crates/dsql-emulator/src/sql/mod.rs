//! Reading SQL, as far as the emulator has to.
//!
//! PostgreSQL parses and runs every statement. The emulator reads it first, to refuse what DSQL
//! refuses, to know transactions, locks and jobs when it sees them, and to change a few words on
//! the way. The lexer is that of `sqlparser-dsql`, the one of AWS's own linter. Its grammar is
//! used for queries. For everything else words are enough, and safer: much of what DSQL refuses is
//! not in that grammar at all, and what PostgreSQL is to run stays its author's text.

mod cursor;
mod edit;
mod lex;

pub(crate) use cursor::{Cursor, identifier, literal, text_of_bytea};
pub(crate) use edit::Edit;
pub(crate) use lex::{Kind, Statement, Token, split};
