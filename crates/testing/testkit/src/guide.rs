//! Tables of the guide for operators, which tests compare with the tables of the code.

/// Asserts that the section `title` of `docs/operations.md` has exactly one table that begins with
/// `head`, and that it is `table`.
///
/// # Panics
/// It has another one, or none.
pub fn assert_guide_has_table(title: &str, head: &str, table: &str) {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/operations.md");
    let guide = std::fs::read_to_string(PATH).unwrap();
    let section = guide
        .split("\n## ")
        .find_map(|section| section.strip_prefix(title)?.strip_prefix('\n'))
        .unwrap_or_else(|| panic!("the guide has no section `{title}`"));
    let tables: Vec<_> =
        section.split("\n\n").map(str::trim).filter(|part| part.starts_with(head)).collect();
    let expected = table.trim();
    assert!(
        tables == [expected],
        "docs/operations.md, section `{title}`, does not show the table of the code:\n{expected}\n"
    );
}
