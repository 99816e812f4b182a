//! Which differences leave an object able to do everything that its definition can.

use super::diff::Difference;

/// How the default of a column begins that takes no value of a statement.
const TAKES_NO_VALUE: &str = "GENERATED ALWAYS";

impl Difference {
    /// The table or index that differs.
    pub(crate) fn relation(&self) -> &str {
        match self {
            Self::MissingTable { table }
            | Self::MissingColumn { table, .. }
            | Self::UnexpectedColumn { table, .. }
            | Self::Column { table, .. }
            | Self::PrimaryKey { table, .. }
            | Self::UnexpectedConstraint { table, .. }
            | Self::UnexpectedProperty { table, .. }
            | Self::UnexpectedIndex { table, .. }
            | Self::MissingSeed { table } => table,
            Self::MissingIndex { index }
            | Self::InvalidIndex { index, .. }
            | Self::Index { index, .. } => index,
            Self::NameTaken { name, .. } | Self::NewerObject { name, .. } => name,
        }
    }

    /// Whether something of the definition is missing. Otherwise it is there, and differs.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::MissingTable { .. }
                | Self::MissingColumn { .. }
                | Self::MissingIndex { .. }
                | Self::MissingSeed { .. }
                | Self::NameTaken { .. }
        )
    }

    /// Whether the object holds all rows that its definition can hold, and takes the statements of the
    /// schema's clients: a column holds longer texts, may be null or has a default more, or there are
    /// further columns that may be left out. A CHECK constraint is taken as compatible too: it does not
    /// concern other objects.
    ///
    /// A wider integer is not compatible: the stores decode a column as the type of its definition.
    pub(crate) fn is_compatible(&self) -> bool {
        match self {
            Self::Column { property: "type", expected, actual, .. } => {
                holds_longer_texts(expected, actual)
            }
            Self::Column { property: "nullability", expected, .. } => expected == "NOT NULL",
            Self::Column { property: "default", expected, actual, .. } => {
                expected == "none" && !actual.starts_with(TAKES_NO_VALUE)
            }
            Self::UnexpectedColumn { required, .. } => !required,
            Self::UnexpectedConstraint { constraint, .. } => constraint
                .split_once(' ')
                .is_some_and(|(_, definition)| definition.starts_with("CHECK ")),
            _ => false,
        }
    }

    /// The table, the column and its type, if the only difference is that the column holds longer texts.
    pub(crate) fn wider_text(&self) -> Option<(&str, &str, &str)> {
        match self {
            Self::Column { table, column, property: "type", expected, actual }
                if holds_longer_texts(expected, actual) =>
            {
                Some((table, column, actual))
            }
            _ => None,
        }
    }

    /// Why a command does not go on with this difference; `None` if its text says it.
    pub(crate) fn obstacle(&self) -> Option<&'static str> {
        match self {
            _ if self.is_compatible() => Some("it is compatible, but a step works on this object"),
            Self::Column { property: "type", .. } => {
                Some("values of the schema may not fit, or the stores cannot read them")
            }
            Self::Column { property: "nullability", .. } => Some("it refuses rows without a value"),
            Self::Column { actual, .. } if actual.starts_with(TAKES_NO_VALUE) => {
                Some("it refuses rows with a value")
            }
            Self::Column { .. } => Some("rows without a value get another one, or are refused"),
            Self::UnexpectedColumn { .. } => Some("it refuses rows without a value"),
            Self::UnexpectedConstraint { .. } | Self::UnexpectedIndex { .. } => {
                Some("it may refuse rows of the servers")
            }
            Self::UnexpectedProperty { .. } => {
                Some("statements of the servers may do something else")
            }
            Self::PrimaryKey { .. } => Some("other columns tell its rows apart"),
            _ => None,
        }
    }
}

/// Whether the type `actual` has every text of the type `expected`, and longer ones.
fn holds_longer_texts(expected: &str, actual: &str) -> bool {
    let length = |data_type: &str| {
        let digits = data_type.strip_prefix("varchar(")?.strip_suffix(')')?;
        digits.parse::<u32>().ok()
    };
    match (length(expected), length(actual)) {
        (Some(expected), Some(actual)) => expected < actual,
        (Some(_), None) => matches!(actual, "varchar" | "text"),
        _ => (expected, actual) == ("varchar", "text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_compatible(
        property: &'static str,
        expected: &str,
        actual: &str,
        is_compatible: bool,
    ) {
        let difference = Difference::Column {
            table: "t".to_owned(),
            column: "c".to_owned(),
            property,
            expected: expected.to_owned(),
            actual: actual.to_owned(),
        };
        assert_eq!(difference.is_compatible(), is_compatible, "{expected} and {actual}");
    }

    #[test]
    fn a_default_more_is_compatible_unless_the_column_takes_no_value() {
        for (expected, actual, is_compatible) in [
            ("none", "now()", true),
            ("none", "GENERATED BY DEFAULT AS IDENTITY", true),
            ("none", "GENERATED ALWAYS AS IDENTITY", false),
            ("none", "GENERATED ALWAYS AS (1)", false),
            ("0", "none", false),
            ("0", "1", false),
        ] {
            assert_compatible("default", expected, actual, is_compatible);
        }
    }

    #[test]
    fn a_text_type_that_holds_longer_texts_is_compatible_and_no_other_type_is() {
        for (expected, actual, is_compatible) in [
            ("smallint", "integer", false),
            ("integer", "bigint", false),
            ("bigint", "integer", false),
            ("integer", "integer", false),
            ("integer", "numeric", false),
            ("varchar(255)", "varchar(1536)", true),
            ("varchar(255)", "varchar(64)", false),
            ("varchar(255)", "varchar", true),
            ("varchar(255)", "text", true),
            ("varchar", "text", true),
            ("varchar", "varchar(255)", false),
            ("text", "varchar", false),
            ("bytea", "text", false),
            ("uuid", "varchar(64)", false),
        ] {
            assert_compatible("type", expected, actual, is_compatible);
        }
    }
}
