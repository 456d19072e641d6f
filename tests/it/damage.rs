//! Disks that rot, directories of others, wrong keys.
