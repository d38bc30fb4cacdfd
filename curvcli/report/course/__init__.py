"""Many reports of one training run: in order, and how each figure went.

`order` puts reports in order, `course` reads their figures and joins those of several layers where that is right,
`refusal` says which reports are about something else, `render` and `table` turn the result into text and exports.
"""
