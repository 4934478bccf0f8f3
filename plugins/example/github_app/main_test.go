package main

import (
	"testing"

	"github.com/invectd/invectd/plugins/sdk/sdktest"
)

func TestPlugin(t *testing.T) { sdktest.Check(t, plugin) }
