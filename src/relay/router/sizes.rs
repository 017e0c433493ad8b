//! What an entry of a table takes, when the table is as sparse as it ever gets.

/// What the allocator adds.
const OVERHEAD: usize = 16;

/// An allocation of so many bytes.
pub(super) const fn boxed(bytes: usize) -> usize {
    bytes.next_multiple_of(16) + OVERHEAD
}

/// An entry of a B-tree of the standard library: a node has 11 at most, and 5 at least.
pub(super) const fn in_tree(entry: usize) -> usize {
    let leaf = boxed(11 * entry + 12);
    (leaf + boxed(11 * entry + 12 + 12 * 8) / 5) / 5
}

/// The only entry of such a tree.
pub(super) const fn alone_in_tree(entry: usize) -> usize {
    boxed(11 * entry + 12)
}

/// An entry of a hash table, which is filled to seven eighths, and grows to twice its size while the old half is there.
pub(super) const fn in_hash(entry: usize) -> usize {
    (entry + 1) * 24 / 7
}

/// The only entry of such a table.
pub(super) const fn alone_in_hash(entry: usize) -> usize {
    boxed(4 * entry + 4 + 16)
}
