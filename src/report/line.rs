//! Lines that fit a terminal: parts are left out by their importance, and names are shortened in the middle.

use console::measure_text_width;

/// What separates the parts of a line.
const GAP: &str = "  ";

/// The fewest and the most columns of a bar.
const BAR: (usize, usize) = (12, 30);

/// Returns a line of the parts, in their order, that is at most `columns` wide. Parts with higher numbers are left out
/// first, and empty parts always.
pub(super) fn fit(parts: &[(u8, String)], columns: usize) -> String {
    let mut by_importance: Vec<usize> = (0..parts.len()).filter(|&part| !parts[part].1.is_empty()).collect();
    by_importance.sort_by_key(|&part| parts[part].0);
    let (mut kept, mut used) = (Vec::new(), 0);
    for part in by_importance {
        let width = measure_text_width(&parts[part].1) + if kept.is_empty() { 0 } else { GAP.len() };
        // What is less important than a part that does not fit is left out, too: its place would change with every digit.
        if used + width > columns {
            break;
        }
        used += width;
        kept.push(part);
    }
    kept.sort_unstable();
    kept.iter().map(|&part| parts[part].1.as_str()).collect::<Vec<_>>().join(GAP)
}

/// Returns a name that is at most `columns` wide: its middle is left out if necessary.
pub(super) fn shortened(name: &str, columns: usize) -> String {
    if measure_text_width(name) <= columns {
        return name.to_owned();
    }
    let chars: Vec<char> = name.chars().collect();
    let width = |chars: &[char]| measure_text_width(&chars.iter().collect::<String>());
    let room = columns.saturating_sub(1);
    let (mut head, mut tail) = (0, chars.len());
    while head < tail && width(&chars[..=head]) <= room / 2 {
        head += 1;
    }
    while tail > head && width(&chars[..head]) + width(&chars[tail - 1..]) <= room {
        tail -= 1;
    }
    if columns == 0 { String::new() } else { chars[..head].iter().chain(&['…']).chain(&chars[tail..]).collect() }
}

/// Returns a bar of at most `columns`; `None` if that is too narrow for one.
pub(super) fn bar(done: u64, total: u64, columns: usize) -> Option<String> {
    if columns < BAR.0 {
        return None;
    }
    let inner = columns.min(BAR.1) - 2;
    let filled = u128::from(done.min(total)) * inner as u128 / u128::from(total.max(1));
    let filled = usize::try_from(filled).unwrap_or(inner);
    let head = if filled > 0 && filled < inner { ">" } else { "" };
    Some(format!("[{:<inner$}]", format!("{}{head}", "=".repeat(filled))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_parts_are_left_out() {
        let parts = [(0, "aaa".to_owned()), (2, "bbb".to_owned()), (1, "ccc".to_owned()), (3, String::new())];
        for (columns, line) in [(13, "aaa  bbb  ccc"), (12, "aaa  ccc"), (8, "aaa  ccc"), (7, "aaa"), (2, "")] {
            assert_eq!(fit(&parts, columns), line, "{columns}");
        }
        assert_eq!(fit(&[(0, "数据".to_owned())], 3), "");
    }

    #[test]
    fn a_long_name_loses_its_middle() {
        for (name, columns, short) in [
            ("cvat_db", 7, "cvat_db"),
            ("cvat_db", 6, "cv…_db"),
            ("cvat_db", 5, "cv…db"),
            ("cvat_db", 1, "…"),
            ("cvat_db", 0, ""),
            ("数据数据数据", 7, "数…数据"),
        ] {
            assert_eq!(shortened(name, columns), short, "{name} {columns}");
            assert!(measure_text_width(short) <= columns);
        }
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(1, 2, 11), None);
        assert_eq!(bar(0, 100, 12).unwrap(), "[          ]");
        assert_eq!(bar(50, 100, 12).unwrap(), "[=====>    ]");
        assert_eq!(bar(99, 100, 12).unwrap(), "[=========>]");
        assert_eq!(bar(100, 100, 12).unwrap(), "[==========]");
        assert_eq!(bar(0, 0, 100).unwrap().len(), 30);
    }
}
