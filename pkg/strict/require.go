package strict

// Require adds a fault for each missing key of the mapping at path. A key with a fault of its own is not missing.
func (d *Decoder) Require(path string, keys ...string) {
	for _, key := range keys {
		if at := JoinPath(path, key); !d.HasKey(at) && !d.HasFault(at) {
			d.AddFaultAtLine(at, d.Line(path), "required")
		}
	}
}
