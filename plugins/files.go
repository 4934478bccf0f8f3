package plugins

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/invectd/invectd/broker"
)

// extensions are those of files that hold a definition.
var extensions = []string{".yaml", ".yml", ".json"}

// LoadDir reads the definitions in the files of a folder, at start: one in each
// file that ends in .yaml, .yml or .json, in the order of their names, but for
// hidden ones, which editors leave behind. A folder that does not exist holds
// none. The files that are good are in force even if
// others are not: the error, several joined, names each of those with the line
// and what to write.
func (r *Registry) LoadDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading provider definitions: %w", err)
	}
	if err := mayTrust(dir); err != nil {
		return fmt.Errorf("reading provider definitions: %w", err)
	}
	r.changes.Lock()
	defer r.changes.Unlock()
	defer r.publish()
	files := map[string]string{} // id to the file that has it
	var errs []error
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || strings.HasPrefix(name, ".") || !slices.Contains(extensions, filepath.Ext(name)) {
			continue
		}
		if err := r.addFile(filepath.Join(dir, name), files); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// addFile adds the definition of one file. r.changes is held.
func (r *Registry) addFile(file string, files map[string]string) error {
	data, err := readFile(file)
	if err != nil {
		return fmt.Errorf("reading a provider definition: %w", err)
	}
	d, lines, err := parse(file, data)
	if err != nil {
		return err
	}
	if err := d.Check(r.config.Addresses); err != nil {
		return located(file, lines, err)
	}
	if len(d.Hooks) > 0 {
		return &SyntaxError{file, lines.of("hooks"), "hooks: " + onlyPlugins}
	}
	if other, ok := files[d.ID]; ok {
		return &SyntaxError{file, lines.of("id"), fmt.Sprintf("the id %q is that of %s already; choose another", d.ID, other)}
	}
	if earlier, ok := r.earlier(d.ID, broker.SourceFile); ok && !d.Override {
		return &SyntaxError{file, lines.of("id"), fmt.Sprintf("the id %q is that of %s; add override: true to replace it, or choose another", d.ID, told[earlier])}
	}
	files[d.ID] = file
	r.sources[broker.SourceFile][d.ID] = completed(d)
	return nil
}

// readFile reads no more of a file than tells that it is too large. Opening a
// pipe would wait for somebody to write to it.
func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", file)
	}
	if err := mayTrust(file); err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// mayTrust returns an error for a file or folder that others could have written:
// a definition says where secrets are sent.
func mayTrust(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case owner != 0 && owner != uint32(os.Geteuid()):
		return fmt.Errorf("%s belongs to user id %d: chown it to root or the daemon's own user", path, owner)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others can write to %s (mode %04o): chmod go-w it", path, info.Mode().Perm())
	}
	return nil
}

// located turns the fields that a check names into places in a file.
func located(file string, lines lines, err error) error {
	invalid, ok := errors.AsType[*broker.InvalidError](err)
	if !ok {
		return fmt.Errorf("%s: %w", file, err)
	}
	var errs []error
	for _, field := range invalid.Fields {
		errs = append(errs, &SyntaxError{file, lines.of(field.Path), field.Path + ": " + field.Message})
	}
	return errors.Join(errs...)
}
