package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/invectd/invectd/broker"
)

// A configFlag gives what a credential is made of. Secrets are in files or on
// standard input, since other users can see arguments.
type configFlag struct {
	program
	configFile, secretFile string
	username               string
	paramName, location    string
	subject                string
}

func (f *configFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.secretFile, "secret-file", "", "`FILE` with the API key, token or password alone, - for standard input")
	flags.StringVar(&f.configFile, "config-file", "", "`FILE` with the config as a JSON object, - for standard input")
	flags.StringVar(&f.username, "username", "", "user name that goes with a password")
	flags.StringVar(&f.paramName, "param-name", "", "header or query parameter that carries an API key (default X-API-Key)")
	flags.StringVar(&f.subject, "subject", "", "whom an oauth2 assertion speaks for (default its issuer)")
	flags.StringVar(&f.location, "location", "", "where an API key goes: header or query")
}

// secretKeys are where the one secret of a kind lies in its config.
var secretKeys = map[string]string{
	string(broker.AuthAPIKey): broker.KeyAPIKey,
	string(broker.AuthBearer): broker.KeyToken,
	string(broker.AuthBasic):  broker.KeyPassword,
}

// read puts the config together; nil where the flags give none.
func (f *configFlag) read(ctx context.Context, authType string) (map[string]any, error) {
	if f.configFile == stdinName && f.secretFile == stdinName {
		return nil, usagef("--config-file and --secret-file cannot both be standard input")
	}
	config := map[string]any{}
	if f.configFile != "" {
		var err error
		if config, err = f.readObject(f.configFile); err != nil {
			return nil, err
		}
	}
	for key, value := range map[string]string{
		broker.KeyUsername: f.username, broker.KeyParamName: f.paramName, broker.KeyLocation: f.location, broker.KeySubject: f.subject,
	} {
		if value != "" {
			config[key] = value
		}
	}
	if f.secretFile != "" {
		if err := f.readSecretInto(ctx, config, authType); err != nil {
			return nil, err
		}
	}
	if len(config) == 0 {
		return nil, nil
	}
	return config, nil
}

func (f *configFlag) readSecretInto(ctx context.Context, config map[string]any, authType string) error {
	key, ok := secretKeys[authType]
	if !ok {
		return usagef("--secret-file is for the kinds apiKey, bearer and basic; give all others with --config-file")
	}
	secret, err := f.readSecret(ctx, f.secretFile, nameOfSecret[key])
	if err != nil {
		return err
	}
	config[key] = secret
	return nil
}

var nameOfSecret = map[string]string{
	broker.KeyAPIKey: "API key", broker.KeyToken: "token", broker.KeyPassword: "password",
}

// addMap adds a flag that may be given several times, each with a name and a
// value.
func addMap(flags *pflag.FlagSet, into *map[string]string, name, usage string) {
	flags.StringToStringVar(into, name, nil, usage)
	flags.Lookup(name).DefValue = "" // the help would say "default []"
}
