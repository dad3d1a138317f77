"""The emitters: the only stage that edits a graph, always through `ir.editor.Editor`."""
