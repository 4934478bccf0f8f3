package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/socket"
)

// off disables a TCP listener.
const off = "off"

// A daemonConfig is all that the daemon can be told. Each flag of serve is also
// an environment variable and a key of the file that --config names; see
// [readSettings].
type daemonConfig struct {
	Socket        string      // path of the full API's socket
	SocketMode    fs.FileMode // its permission bits
	Runner        runnerSocket
	Policy        string           // file that says who may do what; "" for root and the daemon's own user
	DataDir       string           // the encrypted store
	PluginsDir    string           // provider plugins, which are programs; may be missing
	ProvidersDir  string           // definitions as *.yaml or *.json; may be missing
	Addresses     broker.Addresses // loopback and private addresses where providers may live
	ReturnOrigins []string         // where a returnUrl may point, as scheme://host[:port] in lower case
	MetricsAddr   string           // TCP, or off
	CallbackAddr  string           // TCP, or off
	Limits        socket.Limits    // of each user on the sockets
	Backups       backupSchedule
	Key           store.Key
}

// settings are the flags of serve as they were given.
type settings struct {
	config         string
	socket         string
	socketMode     string
	runner         runnerSettings
	policy         string
	dataDir        string
	pluginsDir     string
	providersDir   string
	allowAddresses []string
	returnOrigins  []string
	metrics        string
	callback       string
	backupDir      string
	backupEvery    time.Duration
	limits         socket.Limits
}

func (s *settings) addFlags(f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&s.config, "config", "", "YAML `FILE` whose keys are the names of these flags")
	f.StringVar(&s.socket, "socket", defaultSocket(getenv), "`PATH` of the socket with the full API")
	f.StringVar(&s.socketMode, "socket-mode", "0600", "permission bits of the socket, octal")
	s.runner.addFlags(f)
	f.StringVar(&s.policy, "policy", "", "YAML `FILE` that says who may do what (default: only root and this user, on the full socket)")
	f.StringVar(&s.dataDir, "data-dir", defaultDataDir(getenv), "`DIR` of the encrypted store")
	f.StringVar(&s.pluginsDir, "plugins-dir", "", "`DIR` of provider plugins, which are programs (default DATA_DIR/plugins)")
	f.StringVar(&s.providersDir, "providers-dir", "", "`DIR` of provider definitions, *.yaml or *.json (default DATA_DIR/providers)")
	f.StringSliceVar(&s.allowAddresses, "allow-addresses", nil, "loopback or private `CIDR`s where providers may live and speak http:")
	f.StringSliceVar(&s.returnOrigins, "return-origins", nil, "`ORIGIN`s where a returnUrl may point")
	f.IntVar(&s.limits.Connections, "max-conns-per-uid", 4096, "connections that each user may have open on the sockets; one more is answered 429")
	f.IntVar(&s.limits.InFlight, "max-inflight-per-uid", 512, "requests that each user may have in flight; one that waits for a refresh does not count")
	f.StringVar(&s.metrics, "metrics", "127.0.0.1:9464", "TCP `ADDR` of /metrics, /healthz and /readyz, or off")
	f.StringVar(&s.backupDir, "backup-dir", "", "`DIR` to back the store up to by itself; the last 7 are kept")
	f.DurationVar(&s.backupEvery, "backup-every", 24*time.Hour, "how often to back it up, a minute at least")
	f.StringVar(&s.callback, "callback", "127.0.0.1:8765", "TCP `ADDR` of the OAuth2 callback, or off")
}

// defaultSocket is where a socket is made if nobody says otherwise.
func defaultSocket(getenv func(string) string) string { return defaultSockets(getenv)[0] }

// defaultSockets are the places of the socket, in order of preference.
func defaultSockets(getenv func(string) string) []string {
	var places []string
	if dir := getenv("RUNTIME_DIRECTORY"); dir != "" {
		places = append(places, filepath.Join(dir, "invectd.sock"))
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		places = append(places, filepath.Join(dir, "invectd", "invectd.sock"))
	}
	return append(places, "/run/invectd/invectd.sock")
}

func defaultDataDir(getenv func(string) string) string {
	if dir := getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "invectd")
	}
	return "/var/lib/invectd"
}

// complete fills in the flags that were not given: from the environment, else
// from the file that --config names. An unknown key of the file is an error.
func (s *settings) complete(f *pflag.FlagSet, getenv func(string) string) error {
	if !f.Changed("config") {
		s.config = getenv(variable("config"))
	}
	file, err := readConfigFile(s.config, f)
	if err != nil {
		return err
	}
	var bad error
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || flag.Name == "config" || flag.Name == "help" || bad != nil {
			return
		}
		from, value := variable(flag.Name), getenv(variable(flag.Name))
		if value == "" {
			from, value = s.config+": "+flag.Name, file[flag.Name]
		}
		if value == "" {
			return
		}
		if err := f.Set(flag.Name, value); err != nil {
			bad = fmt.Errorf("%s: %w", from, err)
		}
	})
	return bad
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "INVECT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// readConfigFile returns the values of a YAML file by the names of the flags. A
// list is joined by commas, as the flag takes it.
func readConfigFile(path string, f *pflag.FlagSet) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return parseConfigFile(path, data, f)
}

func parseConfigFile(path string, data []byte, f *pflag.FlagSet) (map[string]string, error) {
	var node map[string]yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	values := map[string]string{}
	for key, value := range node {
		if f.Lookup(key) == nil || key == "config" || key == "help" {
			return nil, fmt.Errorf("configuration %s, line %d: unknown key %q; the keys are the flags of serve", path, value.Line, key)
		}
		text, err := configValue(value)
		if err != nil {
			return nil, fmt.Errorf("configuration %s, line %d: %s: %w", path, value.Line, key, err)
		}
		values[key] = text
	}
	return values, nil
}

func configValue(node yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value, nil
	case yaml.SequenceNode:
		var list []string
		if err := node.Decode(&list); err != nil {
			return "", errors.New("want a list of texts")
		}
		return strings.Join(list, ","), nil
	}
	return "", errors.New("want a text or a list of texts")
}

// daemonConfig checks the settings, without touching anything.
func (s *settings) daemonConfig(key store.Key) (daemonConfig, error) {
	mode, err := parseMode("--socket-mode", s.socketMode)
	if err != nil {
		return daemonConfig{}, err
	}
	runner, err := s.runner.runnerSocket(s.socket)
	if err != nil {
		return daemonConfig{}, err
	}
	if s.backupEvery < time.Minute {
		return daemonConfig{}, fmt.Errorf("--backup-every %s: give a minute or more, such as 24h", s.backupEvery)
	}
	if s.limits.Connections < 1 || s.limits.InFlight < 1 {
		return daemonConfig{}, errors.New("--max-conns-per-uid and --max-inflight-per-uid: give numbers from 1")
	}
	c := daemonConfig{
		Socket: s.socket, SocketMode: mode, Runner: runner, Policy: s.policy, DataDir: s.dataDir, PluginsDir: s.pluginsDir, ProvidersDir: s.providersDir,
		MetricsAddr: s.metrics, CallbackAddr: s.callback, Key: key,
		Limits:  s.limits,
		Backups: backupSchedule{s.backupDir, s.backupEvery},
	}
	if c.PluginsDir == "" {
		c.PluginsDir = filepath.Join(c.DataDir, "plugins")
	}
	if c.ProvidersDir == "" {
		c.ProvidersDir = filepath.Join(c.DataDir, "providers")
	}
	for _, text := range s.allowAddresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return daemonConfig{}, fmt.Errorf("--allow-addresses %q: give a CIDR, such as 10.0.0.0/8 or 127.0.0.1/32", text)
		}
		if !isPrivate(prefix) {
			return daemonConfig{}, fmt.Errorf("--allow-addresses %q: give only loopback and private addresses; public ones need no leave, and are spoken with over https: alone", text)
		}
		c.Addresses = append(c.Addresses, prefix.Masked())
	}
	for _, text := range s.returnOrigins {
		origin, err := parseOrigin(text)
		if err != nil {
			return daemonConfig{}, err
		}
		c.ReturnOrigins = append(c.ReturnOrigins, origin)
	}
	return c, nil
}

// parseMode reads permission bits.
func parseMode(flag, text string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("%s %q: give octal permission bits, such as 0660", flag, text)
	}
	return fs.FileMode(mode), nil
}

// private are the addresses that --allow-addresses may name some of: loopback
// (RFC 1122, RFC 4291), private (RFC 1918), shared (RFC 6598) and unique local
// (RFC 4193). Link-local is not among them, since clouds keep secrets there.
var private = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

func isPrivate(p netip.Prefix) bool {
	return slices.ContainsFunc(private, func(all netip.Prefix) bool {
		return all.Bits() <= p.Bits() && all.Contains(p.Addr())
	})
}

// parseOrigin returns scheme://host[:port] in lower case.
func parseOrigin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("--return-origins %q: give an origin, such as https://app.example.com", text)
	}
	return strings.ToLower(u.Scheme + "://" + u.Host), nil
}

// The places of the key.
const (
	keyVariable     = "INVECT_ENCRYPTION_KEY"
	keyFileVariable = "INVECT_ENCRYPTION_KEY_FILE"
	keyCredential   = "invect_encryption_key" // of systemd
)

// readKey returns the key that the operator gives, in exactly one place.
func readKey(getenv func(string) string) (store.Key, error) {
	var texts, places []string
	found := func(place, text string) {
		places, texts = append(places, place), append(texts, text)
	}
	if text := getenv(keyVariable); text != "" {
		found(keyVariable, text)
	}
	if path := getenv(keyFileVariable); path != "" {
		text, err := readKeyFile(path)
		if err != nil {
			return store.Key{}, fmt.Errorf("reading %s: %w", keyFileVariable, err)
		}
		found(keyFileVariable, text)
	}
	if dir := getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		text, err := readKeyFile(filepath.Join(dir, keyCredential))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return store.Key{}, fmt.Errorf("reading the systemd credential: %w", err)
		}
		if err == nil {
			found("the systemd credential "+keyCredential, text)
		}
	}
	switch len(texts) {
	case 0:
		return store.Key{}, fmt.Errorf("no encryption key: set %s or %s; `invectd secret` prints a new one", keyVariable, keyFileVariable)
	case 1:
		key, err := store.ParseKey(texts[0])
		if err != nil {
			return store.Key{}, fmt.Errorf("%s: %w", places[0], err)
		}
		return key, nil
	}
	return store.Key{}, fmt.Errorf("the encryption key is given twice, by %s: keep one", strings.Join(places, " and by "))
}

// readKeyFile reads no more of a file than a key can have.
func readKeyFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	return string(data), err
}
