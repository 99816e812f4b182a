//! A text table of executions: archetype, table, number of rows.

use std::{collections::BTreeMap, fmt::Write};

use temporal_dsql::{ArchetypeRouter, CurrentExecutionsRouter, CurrentExecutionsRow};

/// Counts `rows` by archetype.
pub fn of(rows: &[&CurrentExecutionsRow]) -> String {
    let mut archetypes: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for row in rows {
        let table = ArchetypeRouter.route_filter(&row.filter()).table();
        *archetypes.entry((table.name(), row.archetype_id.to_string())).or_default() += 1;
    }
    let mut text = format!("  {:<26}{:<26}{:>6}\n", "ARCHETYPE", "TABLE", "ROWS");
    for ((table, archetype), rows) in archetypes.iter().rev() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {archetype:<26}{table:<26}{rows:>6}");
    }
    text
}

#[cfg(test)]
mod tests {
    use temporal_dsql_conformance::real_data::{self, Recording};

    #[test]
    fn every_archetype_is_a_line_with_its_table_and_its_rows() {
        let workflows = real_data::current_executions(Recording::Dsql);
        let others = real_data::current_chasm_executions(Recording::Dsql);
        let rows: Vec<_> = workflows.iter().chain(&others).collect();
        let text = super::of(&rows);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
        assert_eq!(lines[1], ["workflow.workflow", "current_executions", "170"]);
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines.contains(&vec!["activity.activity", "current_chasm_executions", "60"]));
    }
}
