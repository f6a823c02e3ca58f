// Runs Lua as Argo CD does, with its interpreter and no more libraries than it opens, on an object given as JSON.
//
//	lua health FILE | lua discovery FILE | lua action NAME FILE
//
// FILE is a health script, or the YAML that defines actions. Prints what the script returned as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

type actions struct {
	Discovery   string `json:"discovery.lua"`
	Definitions []struct {
		Name   string `json:"name"`
		Action string `json:"action.lua"`
	} `json:"definitions"`
}

func script(args []string) (string, error) {
	file := args[len(args)-1]
	text, err := os.ReadFile(file)
	if err != nil || args[0] == "health" {
		return string(text), err
	}
	var a actions
	if err := yaml.UnmarshalStrict(text, &a); err != nil {
		return "", err
	}
	if args[0] == "discovery" {
		return a.Discovery, nil
	}
	for _, definition := range a.Definitions {
		if definition.Name == args[1] {
			return definition.Action, nil
		}
	}
	return "", fmt.Errorf("%s defines no action %q", file, args[1])
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		table := state.CreateTable(len(v), 0)
		for _, item := range v {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(v))
		for key, item := range v {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}

func fromLua(value lua.LValue) any {
	table, ok := value.(*lua.LTable)
	if !ok {
		switch v := value.(type) {
		case lua.LBool:
			return bool(v)
		case lua.LNumber:
			return float64(v)
		case lua.LString:
			return string(v)
		}
		return nil
	}
	if table.Len() > 0 {
		list := []any{}
		table.ForEach(func(_, item lua.LValue) { list = append(list, fromLua(item)) })
		return list
	}
	object := map[string]any{}
	table.ForEach(func(key, item lua.LValue) { object[key.String()] = fromLua(item) })
	return object
}

// safeOS loads what Argo CD leaves of the library os.
func safeOS(state *lua.LState) int {
	lua.OpenOs(state)
	full := state.GetGlobal("os").(*lua.LTable)
	state.SetGlobal("os", lua.LNil)
	safe := state.NewTable()
	for _, name := range []string{"time", "date"} {
		safe.RawSetString(name, full.RawGetString(name))
	}
	state.Push(safe)
	return 1
}

func newState() *lua.LState {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		state.Push(state.NewFunction(library.open))
		state.Push(lua.LString(library.name))
		state.Call(1, 0)
	}
	state.PreloadModule(lua.OsLibName, safeOS)
	return state
}

func run(args []string) error {
	text, err := script(args)
	if err != nil {
		return err
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var object any
	if err := json.Unmarshal(input, &object); err != nil {
		return err
	}
	state := newState()
	defer state.Close()
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(text); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(fromLua(state.Get(-1)))
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: lua health FILE | lua discovery FILE | lua action NAME FILE, with the object as JSON on stdin")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
