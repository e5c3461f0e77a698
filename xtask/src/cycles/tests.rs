use std::path::Path;

use tempfile::TempDir;

use super::{report, workspace};

/// Writes a workspace of one crate; the files are relative to its `src`.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for parent in ["crates/one/src", "plugins"] {
        std::fs::create_dir_all(folder.path().join(parent)).unwrap();
    }
    std::fs::write(folder.path().join("crates/one/Cargo.toml"), "").unwrap();
    for (name, text) in files {
        let file = folder.path().join("crates/one/src").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    folder
}

fn found(files: &[(&str, &str)]) -> String {
    let folder = tree(files);
    report(&workspace(folder.path()).unwrap())
}

const PLANTED: [(&str, &str); 3] = [
    ("lib.rs", "mod a; mod b;"),
    ("a.rs", "use crate::b::B; pub struct A(B);"),
    ("b.rs", "pub struct B; fn f() { super::a::A::new(); }"),
];

#[test]
fn planted_cycle_is_listed_with_its_imports() {
    let report = found(&PLANTED);
    assert_eq!(
        report,
        "import cycle, 2 files:\n  \
         crates/one/src/a.rs -> crates/one/src/b.rs: crate::b::B\n  \
         crates/one/src/b.rs -> crates/one/src/a.rs: super::a::A::new\n"
    );
}

#[test]
fn clean_tree_has_no_cycle() {
    let report = found(&[
        ("lib.rs", "mod a; mod b; pub use a::A;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "pub struct B;"),
    ]);
    assert_eq!(report, "");
}

#[test]
fn user_of_a_reexport_depends_on_the_defining_file() {
    let report = found(&[
        ("lib.rs", "mod parent;"),
        ("parent/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("parent/a.rs", "use super::B; pub struct A(B);"),
        ("parent/b.rs", "use crate::parent::A; pub struct B(A);"),
    ]);
    assert!(report.starts_with("import cycle, 2 files:\n  crates/one/src/parent/a.rs -> "));
}

#[test]
fn parent_that_uses_what_it_reexports_is_in_the_cycle() {
    let child = ("a.rs", "pub struct A(crate::Root);");
    let declared = ("lib.rs", "mod a; pub use a::A; pub struct Root;");
    assert_eq!(found(&[declared, child]), "");
    let used = (
        "lib.rs",
        "mod a; pub use a::A; pub struct Root; fn f(_: A) {}",
    );
    assert!(found(&[used, child]).starts_with("import cycle"));
}

#[test]
fn test_modules_do_not_count() {
    let report = found(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }",
        ),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ]);
    assert_eq!(report, "");
}

#[test]
fn paths_in_macros_and_attributes_count() {
    for text in [
        "pub struct B; fn f() { println!(\"{}\", crate::a::A::new()); }",
        "pub struct B; #[serde(with = \"crate::a::f\")] struct C;",
    ] {
        let a = ("a.rs", "pub fn f() {} pub struct A(crate::b::B);");
        assert!(
            found(&[("lib.rs", "mod a; mod b;"), a, ("b.rs", text)]).starts_with("import cycle"),
            "{text}"
        );
    }
}

#[test]
fn names_from_a_glob_count() {
    let report = found(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::*; pub struct A(B);"),
        ("b.rs", "pub struct B(crate::a::A);"),
    ]);
    assert!(report.starts_with("import cycle"));
}

#[test]
fn a_folder_that_is_no_workspace_is_an_error() {
    assert!(workspace(Path::new("absent")).is_err());
}
