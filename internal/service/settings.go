package service

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
)

// validator is implemented by settings with rules beyond their types.
type validator interface {
	// Validate returns every fault it finds; each begins with the setting's name.
	Validate() []error
}

// ParseSettings fills cfg, a pointer to a struct with `env` tags, from environ
// (as os.Environ gives it) and validates it. The error lists all faults at once,
// a line each. Values of settings are never part of it: they may be secrets.
func ParseSettings(cfg any, environ []string) error {
	faults := parseFaults(cfg, env.ParseWithOptions(cfg, env.Options{Environment: env.ToMap(environ)}))
	if v, ok := cfg.(validator); ok {
		faults = addFaults(faults, v.Validate())
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("settings are wrong:\n%w", errors.Join(faults...))
}

// parseFaults takes apart what the library found.
func parseFaults(cfg any, err error) []error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return nil
	}
	var faults []error
	for _, e := range all.Errors {
		faults = append(faults, settingFault(cfg, e))
	}
	return faults
}

// addFaults adds what Validate found. A setting that could not be read has its
// zero value, so that what Validate says of it means nothing.
func addFaults(faults, validated []error) []error {
	unread := map[string]bool{}
	for _, f := range faults {
		unread[settingOf(f)] = true
	}
	for _, f := range validated {
		if f != nil && !unread[settingOf(f)] {
			faults = append(faults, fmt.Errorf("  %s", strings.TrimSpace(f.Error())))
		}
	}
	return faults
}

// settingOf is the setting that a fault is about: its first word.
func settingOf(fault error) string { return strings.Fields(fault.Error())[0] }

// settingFault says in terms of the environment what the library says in terms
// of struct fields, and leaves the value out.
func settingFault(cfg any, err error) error {
	var missing env.VarIsNotSetError
	var empty env.EmptyVarError
	var parse env.ParseError
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("  %s is required", missing.Key)
	case errors.As(err, &empty):
		return fmt.Errorf("  %s must not be empty", empty.Key)
	case errors.As(err, &parse):
		return fmt.Errorf("  %s is not a valid %s", nameOf(cfg, parse.Name), parse.Type)
	}
	return fmt.Errorf("  %w", err)
}

// Setting describes one setting of a service.
type Setting struct {
	Name     string
	Field    string // of the settings struct
	Default  string
	Required bool
	Help     string
}

// Settings lists what ParseSettings reads for cfg, in the order of its fields.
// The documentation and the manifests are checked against it.
func Settings(cfg any) []Setting {
	var out []Setting
	t := reflect.Indirect(reflect.ValueOf(cfg)).Type()
	for f := range t.Fields() {
		if f.Anonymous {
			out = append(out, Settings(reflect.New(f.Type).Interface())...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("env"), ",")
		if name == "" {
			continue
		}
		out = append(out, Setting{
			Name:     name,
			Field:    f.Name,
			Default:  f.Tag.Get("envDefault"),
			Required: strings.Contains(options, "required") || strings.Contains(options, "notEmpty"),
			Help:     f.Tag.Get("help"),
		})
	}
	return out
}

// nameOf is the environment variable behind a field of cfg.
func nameOf(cfg any, field string) string {
	for _, s := range Settings(cfg) {
		if s.Field == field {
			return s.Name
		}
	}
	return field
}

// printSettings writes the settings of cfg for people.
func printSettings(w io.Writer, cfg any) {
	for _, s := range Settings(cfg) {
		value := "default " + s.Default
		if s.Default == "" {
			value = "default empty"
		}
		if s.Required {
			value = "required"
		}
		fmt.Fprintf(w, "  %-28s %s (%s)\n", s.Name, s.Help, value)
	}
}
