//! Locking clauses: which rows each query of a statement locks, and how they are reported to the
//! emulator (aurora-dsql.md#locks).
//!
//! On DSQL no statement waits for a lock, so PostgreSQL is not asked to lock rows. A locking clause
//! is replaced by an additional sort key: a function that reports a row and returns the same value
//! for every row. It is called once for each returned row, and does not change columns or order. In
//! a query with a LIMIT it would also be called for the rows beyond the limit; there it is called
//! in an outer query, which selects the rows by their `ctid`.

use sqlparser::ast::{JoinOperator, Query, Select, SetExpr, TableFactor};

use super::{
    Plan,
    syntax::{factors, folded, parse},
};
use crate::sql::{Cursor, Statement, Token, identifier};

/// The two kinds of row locks that DSQL has (aurora-dsql.md#locks), the weaker first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LockStrength {
    KeyShare,
    Update,
}

impl LockStrength {
    /// The class of a locked row in the conflict matrix (aurora-dsql.md#conflict-matrix).
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::KeyShare => "S",
            Self::Update => "K",
        }
    }
}

/// A table whose rows a query locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockedTable {
    /// Its name in the query, quoted.
    pub(crate) relation: String,
    /// Its alias in the query, quoted.
    pub(crate) alias: String,
    pub(crate) strength: LockStrength,
}

/// The locking queries of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Locking {
    /// The statement without NOWAIT and SKIP LOCKED, which would make PostgreSQL refuse or skip
    /// rows that another session has locked.
    pub(crate) text: String,
    queries: Vec<LockingQuery>,
}

/// One query with locking clauses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LockingQuery {
    /// The strongest of its clauses.
    strength: LockStrength,
    /// The removal of NOWAIT and SKIP LOCKED, if PostgreSQL locks the rows itself.
    without_policy: Vec<Change>,
    /// The changes that report the rows instead; `None` if the query has a form that does not
    /// permit it.
    reporting: Option<Reporting>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reporting {
    tables: Vec<LockedTable>,
    changes: Vec<Change>,
}

/// A replacement of a part of the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    start: usize,
    end: usize,
    text: String,
    /// If set, the calls that report a row follow `text`, and then this.
    calls: Option<&'static str>,
}

impl Change {
    fn remove(start: usize, end: usize) -> Self {
        Self { start, end, text: String::new(), calls: None }
    }

    fn insert(at: usize, text: String) -> Self {
        Self { start: at, end: at, text, calls: None }
    }
}

impl Locking {
    /// Whether any of its queries can report its rows. Then the statement can be explained.
    pub(crate) fn can_report(&self) -> bool {
        self.queries.iter().any(|query| query.reporting.is_some())
    }

    /// The tables of all queries, in order.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &LockedTable> {
        self.queries.iter().flat_map(|query| &query.reporting).flat_map(|way| &way.tables)
    }

    /// The text of `statement` that reports the rows that it locks, and the strength of the locks
    /// that PostgreSQL takes itself for queries that cannot report. `call` returns the function
    /// call that reports a row of a table, or `None` for what is not a plain table.
    pub(crate) fn reporting(
        &self,
        statement: &Statement,
        call: impl Fn(&LockedTable) -> Option<String>,
    ) -> (String, Option<LockStrength>) {
        let mut changes: Vec<(&Change, String)> = Vec::new();
        let mut unreported = None;
        for query in &self.queries {
            let calls = query.reporting.as_ref().and_then(|way| {
                let calls: Option<Vec<String>> = way.tables.iter().map(&call).collect();
                Some((way, calls?.join(", ")))
            });
            match calls {
                Some((way, calls)) => {
                    changes.extend(way.changes.iter().map(|change| (change, calls.clone())));
                }
                None => {
                    unreported = unreported.max(Some(query.strength));
                    changes.extend(query.without_policy.iter().map(|c| (c, String::new())));
                }
            }
        }
        (changed(&statement.text, changes), unreported)
    }
}

/// Applies changes to a text, each with the calls that it may contain.
fn changed(text: &str, mut changes: Vec<(&Change, String)>) -> String {
    changes.sort_by_key(|(change, _)| change.start);
    let mut changed = String::with_capacity(2 * text.len());
    let mut done = 0;
    for (change, calls) in changes {
        changed.push_str(&text[done..change.start]);
        changed.push_str(&change.text);
        if let Some(after) = change.calls {
            changed.push_str(&calls);
            changed.push_str(after);
        }
        done = change.end;
    }
    changed.push_str(&text[done..]);
    changed
}

/// A locking clause and its position, in tokens.
struct Clause {
    first: usize,
    last: usize,
    /// `None` for FOR SHARE and FOR NO KEY UPDATE, which DSQL does not have.
    strength: Option<LockStrength>,
    /// The names after OF; none means all.
    of: Vec<String>,
    /// The position of NOWAIT or SKIP LOCKED.
    policy: Option<(usize, usize)>,
}

impl Clause {
    /// Reads the locking clause at `position`, if there is one.
    fn read(tokens: &[Token], position: usize) -> Option<Self> {
        let mut cursor = Cursor::new(&tokens[position..]);
        let strength = if cursor.skip("FOR UPDATE") {
            Some(LockStrength::Update)
        } else if cursor.skip("FOR KEY SHARE") {
            Some(LockStrength::KeyShare)
        } else if cursor.skip("FOR SHARE") || cursor.skip("FOR NO KEY UPDATE") {
            None
        } else {
            return None;
        };
        let mut of = Vec::new();
        if cursor.skip("OF") {
            while let Some(name) = cursor.name() {
                of.extend(name.last().map(|name| (*name).to_owned()));
                if !cursor.skip_mark(',') {
                    break;
                }
            }
        }
        // Statements never block (aurora-dsql.md#locks), so these have no effect.
        let before = position + cursor.at();
        let policy = cursor.skip("NOWAIT") || cursor.skip("SKIP LOCKED");
        let last = position + cursor.at() - 1;
        let policy = policy.then_some((before, last));
        Some(Self { first: position, last, strength, of, policy })
    }

    fn locks(&self, alias: &str) -> bool {
        self.of.is_empty() || self.of.iter().any(|name| name == alias)
    }
}

/// The locking queries of a statement, each parsed once.
pub(super) struct LockingQueries<'a> {
    text: Text<'a>,
    clauses: Vec<Clause>,
    queries: Vec<ParsedQuery>,
}

/// A query with locking clauses.
struct ParsedQuery {
    position: QueryPosition,
    /// Its clauses, among those of the statement.
    own: Vec<usize>,
    /// Its syntax tree without the clauses; `None` if it cannot be parsed.
    tree: Option<Box<Query>>,
}

impl<'a> LockingQueries<'a> {
    /// Reads the locking queries of a statement; `None` if it has none.
    pub(super) fn read(statement: &'a Statement) -> Option<Self> {
        let text = Text::new(statement);
        let clauses = text.clauses();
        let mut queries: Vec<ParsedQuery> = Vec::new();
        for (number, clause) in clauses.iter().enumerate() {
            let position = text.query_of(clause);
            match queries.iter_mut().find(|query| query.position == position) {
                Some(query) => query.own.push(number),
                None => queries.push(ParsedQuery { position, own: vec![number], tree: None }),
            }
        }
        for query in &mut queries {
            let own: Vec<&Clause> = query.own.iter().map(|number| &clauses[*number]).collect();
            query.tree = text.parsed(&query.position, &own);
        }
        (!clauses.is_empty()).then_some(Self { text, clauses, queries })
    }

    /// The syntax tree of the whole statement without its locking clauses, if that is a locking
    /// query.
    pub(super) fn whole(&self) -> Option<&Query> {
        let whole = QueryPosition { group: None, select: Some(0) };
        self.queries.iter().find(|query| query.position == whole)?.tree.as_deref()
    }

    /// How the queries lock.
    ///
    /// # Errors
    /// The refusal of a lock that DSQL does not have on a table (aurora-dsql.md#locks) [R]. On
    /// something else it is accepted, and locks nothing [S SUITES].
    pub(super) fn locking(&self) -> Result<Locking, Plan> {
        if self.queries.iter().any(|query| self.text.has_unknown_lock(query, &self.own(query))) {
            return Err(Plan::unsupported(
                "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
            ));
        }
        let queries = self.queries.iter().map(|query| {
            let own = self.own(query);
            let reporting = self.text.reporting(query, &own, &self.clauses);
            LockingQuery { reporting, ..left_to_postgresql(self.text.tokens, &own) }
        });
        Ok(whole(self.text.statement, queries.collect()))
    }

    /// Whether one of the clauses is in parentheses, other than those around the whole statement.
    pub(super) fn are_in_parentheses(&self) -> bool {
        let around = &self.text.around;
        let whole = self.text.tokens.iter().take_while(|token| token.is_mark('(')).count();
        let depth = |clause: &Clause| {
            std::iter::successors(around[clause.first], |opened| around[*opened]).count()
        };
        self.clauses.iter().any(|clause| depth(clause) > whole)
    }

    fn own(&self, query: &ParsedQuery) -> Vec<&Clause> {
        query.own.iter().map(|number| &self.clauses[*number]).collect()
    }
}

/// The locking queries inside of EXPLAIN or COPY, which PostgreSQL locks itself.
pub(super) fn locking_inside(statement: &Statement) -> Option<Locking> {
    let clauses = Text::new(statement).clauses();
    if clauses.is_empty() {
        return None;
    }
    let all: Vec<&Clause> = clauses.iter().collect();
    Some(whole(statement, vec![left_to_postgresql(&statement.tokens, &all)]))
}

fn whole(statement: &Statement, queries: Vec<LockingQuery>) -> Locking {
    let policies = queries.iter().flat_map(|query| &query.without_policy);
    let text = changed(&statement.text, policies.map(|change| (change, String::new())).collect());
    Locking { text, queries }
}

fn left_to_postgresql(tokens: &[Token], clauses: &[&Clause]) -> LockingQuery {
    let policies = clauses.iter().filter_map(|clause| clause.policy);
    LockingQuery {
        strength: strongest(clauses.iter().copied()).unwrap_or(LockStrength::KeyShare),
        without_policy: policies
            .map(|(first, last)| Change::remove(tokens[first].start, tokens[last].end))
            .collect(),
        reporting: None,
    }
}

fn strongest<'a>(clauses: impl Iterator<Item = &'a Clause>) -> Option<LockStrength> {
    clauses.filter_map(|clause| clause.strength).max()
}

/// The position of a query, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct QueryPosition {
    /// The opening parenthesis of its group, if it is in one.
    group: Option<usize>,
    /// Its SELECT, if it has one.
    select: Option<usize>,
}

/// A statement, with the structure of its parentheses.
struct Text<'a> {
    statement: &'a Statement,
    tokens: &'a [Token],
    /// The innermost opening parenthesis around each token.
    around: Vec<Option<usize>>,
    /// The closing parenthesis of each opening one.
    closing: Vec<usize>,
}

/// Keywords that can follow the FROM clause of a locking query.
const AFTER_TABLES: [&str; 6] = ["WHERE", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR"];

impl<'a> Text<'a> {
    fn new(statement: &'a Statement) -> Self {
        let tokens = &statement.tokens[..];
        let mut around = Vec::with_capacity(tokens.len());
        let mut closing = vec![tokens.len(); tokens.len()];
        let mut open: Vec<usize> = Vec::new();
        for (position, token) in tokens.iter().enumerate() {
            if token.is_mark(')')
                && let Some(opened) = open.pop()
            {
                closing[opened] = position;
            }
            around.push(open.last().copied());
            if token.is_mark('(') {
                open.push(position);
            }
        }
        Self { statement, tokens, around, closing }
    }

    /// The locking clauses of the statement. In `substring(a FOR update)` there is none.
    fn clauses(&self) -> Vec<Clause> {
        let in_call = |at: usize| {
            let before = self.around[at].filter(|opened| *opened > 0).map(|opened| opened - 1);
            before.is_some_and(|before| {
                ["SUBSTRING", "OVERLAY"].iter().any(|word| self.tokens[before].is(word))
            })
        };
        let clause = |at| Clause::read(self.tokens, at).filter(|_| !in_call(at));
        (0..self.tokens.len()).filter_map(clause).collect()
    }

    /// The end of the query that begins at `select` and whose last locking clause ends at `last`.
    fn query_end(&self, group: Option<usize>, last: usize) -> usize {
        let group_end = group.map_or(self.tokens.len(), |opened| self.closing[opened]);
        // An INSERT may continue after its query.
        let goes_on = |at: &usize| self.tokens[*at].is("RETURNING") || self.tokens[*at].is("ON");
        let mut on_level = (last + 1..group_end).filter(|at| self.around[*at] == group);
        on_level.find(goes_on).unwrap_or(group_end)
    }

    /// Whether the query locks a table in a way that DSQL does not have. A query that cannot be
    /// parsed counts as one.
    fn has_unknown_lock(&self, query: &ParsedQuery, own: &[&Clause]) -> bool {
        let unknown: Vec<&Clause> =
            own.iter().copied().filter(|clause| clause.strength.is_none()).collect();
        if unknown.is_empty() {
            return false;
        }
        let (Some(tree), Some(select)) = (&query.tree, query.position.select) else { return true };
        let SetExpr::Select(parsed) = &*tree.body else { return true };
        factors(parsed).any(|factor| {
            let TableFactor::Table { name, alias, args: None, .. } = factor else { return false };
            let Some(own_name) = name.0.last().and_then(|part| part.as_ident()).map(folded) else {
                return true;
            };
            let alias = alias.as_ref().map_or_else(|| own_name.clone(), |a| folded(&a.name));
            let is_common = name.0.len() == 1 && self.is_common(&own_name, select);
            !is_common && unknown.iter().any(|clause| clause.locks(&alias))
        })
    }

    /// The query that a clause belongs to.
    fn query_of(&self, clause: &Clause) -> QueryPosition {
        let group = self.around[clause.first];
        let begin = group.map_or(0, |opened| opened + 1);
        let select = (begin..clause.first)
            .rev()
            .find(|at| self.around[*at] == group && self.tokens[*at].is("SELECT"));
        QueryPosition { group, select }
    }

    /// How a query with the clauses `own`, of `all`, reports the rows that it locks.
    fn reporting(&self, query: &ParsedQuery, own: &[&Clause], all: &[Clause]) -> Option<Reporting> {
        let tokens = self.tokens;
        let (group, select) = (query.position.group, query.position.select?);
        let end = self.query_end(group, own.last()?.last);
        let on_level =
            |range: std::ops::Range<usize>| range.filter(move |at| self.around[*at] == group);
        let from = on_level(select + 1..own.first()?.first)
            .find(|at| tokens[*at].is("FROM") && !tokens[*at - 1].is("DISTINCT"));
        let Some(from) = from else {
            return Some(Reporting { tables: Vec::new(), changes: self.removals(own) });
        };
        let next = |words: &[&str], range| {
            on_level(range).find(|at| words.iter().any(|word| tokens[*at].is(word)))
        };
        let limit = next(&["LIMIT", "OFFSET", "FETCH"], from..end);
        let order = next(&["ORDER"], from..end);

        let SetExpr::Select(parsed) = &*query.tree.as_ref()?.body else { return None };
        let common = |name: &str| self.is_common(name, select);
        let found = locked_tables(parsed, own, common)?;
        if found.tables.is_empty() {
            return Some(Reporting { tables: Vec::new(), changes: self.removals(own) });
        }
        // In EXISTS, PostgreSQL removes the ORDER BY, unless there is an OFFSET.
        let exists = group.is_some_and(|opened| opened > 0 && tokens[opened - 1].is("EXISTS"));
        let calls = Some(if exists { " OFFSET 0" } else { "" });
        let mut changes = self.removals(own);
        if limit.is_none() {
            let first = changes.first_mut()?;
            first.text = if order.is_some() { ", " } else { " ORDER BY " }.into();
            first.calls = calls;
            return Some(Reporting { tables: found.tables, changes });
        }

        // Selects the rows within the limit by the ctid of each table.
        let inner = |join: &sqlparser::ast::Join| {
            matches!(
                join.join_operator,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
            )
        };
        if !found.all || !parsed.from.iter().all(|from| from.joins.iter().all(inner)) {
            return None;
        }
        let tables_end = next(&AFTER_TABLES, from..end)?;
        let sorting = order.map(|order| {
            let stop = next(&["LIMIT", "OFFSET", "FETCH", "FOR"], order..end).unwrap_or(end);
            order..stop
        });
        // A part that is written twice must not contain a locking clause.
        let twice = [Some(select..tables_end), sorting.clone()];
        let locks =
            |clause: &Clause| twice.iter().flatten().any(|part| part.contains(&clause.first));
        if all.iter().any(locks) {
            return None;
        }
        let text = |range: std::ops::Range<usize>| {
            &self.statement.text[tokens[range.start].start..tokens[range.end - 1].end]
        };
        let each = |of: &dyn Fn(usize, &LockedTable) -> String| {
            let parts: Vec<String> =
                found.tables.iter().enumerate().map(|(number, table)| of(number, table)).collect();
            parts.join(", ")
        };
        let comma = if from == select + 1 { " " } else { ", " };
        changes.push(Change::insert(
            tokens[select].start,
            format!(
                "{} WHERE ({}) IN (SELECT {} FROM (",
                text(select..tables_end),
                each(&|_, table| format!("{}.ctid", table.alias)),
                each(&|number, _| format!("dsql_emulator_limited.dsql_emulator_{number}")),
            ),
        ));
        changes.push(Change::insert(
            tokens[from].start,
            format!(
                "{comma}{} ",
                each(&|number, table| format!("{}.ctid AS dsql_emulator_{number}", table.alias))
            ),
        ));
        let at = tokens[end - 1].end;
        let sorted = sorting.map_or("ORDER BY ".to_owned(), |range| format!("{}, ", text(range)));
        let closed = format!(") AS dsql_emulator_limited) {sorted}");
        changes.push(Change { start: at, end: at, text: closed, calls });
        Some(Reporting { tables: found.tables, changes })
    }

    fn removals(&self, clauses: &[&Clause]) -> Vec<Change> {
        let remove = |clause: &&Clause| {
            Change::remove(self.tokens[clause.first].start, self.tokens[clause.last].end)
        };
        clauses.iter().map(remove).collect()
    }

    /// The query from its SELECT on, without its locking clauses.
    fn parsed(&self, position: &QueryPosition, own: &[&Clause]) -> Option<Box<Query>> {
        let select = position.select?;
        let end = self.query_end(position.group, own.last()?.last);
        let mut text = String::new();
        let mut done = self.tokens[select].start;
        for clause in own {
            text.push_str(&self.statement.text[done..self.tokens[clause.first].start]);
            done = self.tokens[clause.last].end;
        }
        text.push_str(&self.statement.text[done..self.tokens[end - 1].end]);
        parse(&text, &self.tokens[select..end])
    }

    /// Whether `name` at token `position` refers to a query of a WITH clause.
    fn is_common(&self, name: &str, position: usize) -> bool {
        (0..self.tokens.len()).any(|at| {
            if self.tokens[at].word() != Some(name) {
                return false;
            }
            // `name (columns) AS MATERIALIZED (query)`
            let mut cursor = Cursor::new(&self.tokens[at + 1..]);
            cursor.parenthesised();
            let common = cursor.skip("AS") && {
                let _ = cursor.skip("MATERIALIZED") || cursor.skip("NOT MATERIALIZED");
                cursor.peek().is_some_and(|token| token.is_mark('('))
            };
            if !common {
                return false;
            }
            let body = at + 1 + cursor.at();
            let group = self.around[at];
            let begin = group.map_or(0, |opened| opened + 1);
            let end = group.map_or(self.tokens.len(), |opened| self.closing[opened]);
            let recursive =
                (begin..at).any(|at| self.around[at] == group && self.tokens[at].is("RECURSIVE"));
            // Inside of its own query, and before it, the name refers to the table.
            let known_from = if recursive { begin } else { self.closing[body] };
            (known_from..end).contains(&position)
        })
    }
}

/// The tables that a query locks.
struct QueryTables {
    tables: Vec<LockedTable>,
    /// Whether the query reads only these.
    all: bool,
}

/// The tables that the clauses lock; `None` if one of them is not a plain table. `common` returns
/// whether a name is that of a query of a WITH clause, which has no rows to lock.
fn locked_tables(
    select: &Select,
    clauses: &[&Clause],
    common: impl Fn(&str) -> bool,
) -> Option<QueryTables> {
    let mut found = QueryTables { tables: Vec::new(), all: true };
    for factor in factors(select) {
        let (name, alias) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => (Some(name), alias),
            TableFactor::Table { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::Derived { alias, .. } => (None, alias),
            _ => return None,
        };
        let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
        let alias = match (alias, name) {
            (Some(alias), _) => folded(&alias.name),
            (None, Some(name)) => folded(name.0.last()?.as_ident()?),
            (None, None) => String::new(),
        };
        let strength = strongest(clauses.iter().copied().filter(|clause| clause.locks(&alias)));
        let (Some(name), Some(strength)) = (name, strength) else {
            // A function has no rows to lock; a subquery locks its tables.
            if matches!(factor, TableFactor::Derived { .. }) && strength.is_some() {
                return None;
            }
            found.all = false;
            continue;
        };
        let parts: Option<Vec<String>> =
            name.0.iter().map(|part| part.as_ident().map(folded)).collect();
        let parts = parts?;
        if parts.len() == 1 && common(&parts[0]) {
            found.all = false;
            continue;
        }
        if renamed {
            return None;
        }
        let relation = parts.iter().map(|part| identifier(part)).collect::<Vec<_>>().join(".");
        found.tables.push(LockedTable { relation, alias: identifier(&alias), strength });
    }
    Some(found)
}
